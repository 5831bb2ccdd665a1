#!/bin/sh
# Installs this bundle: an environment, the first release, and systemd's units.
set -eu
umask 022

usage() {
    cat <<'TEXT'
install.sh --from DIR [options], as root, from the folder that the archive was unpacked in

  --from DIR     the release: archive, release.json, release.json.sig, release.pub
  --root DIR     where it is installed (/opt/pokeflow-edge)
  --venv DIR     an environment that is there already (default: one is made in the root)
  --wheels DIR   install packages from this folder, not from the network
  --updates URL  where newer releases come from: the timer looks there every hour
  --no-start     do not start anything
  --dry-run      say what would be done
DESTDIR is put before every path, for an image of a system that is not running.
TEXT
}

from='' root=/opt/pokeflow-edge venv='' wheels='' updates='' start=yes dry=''
while [ $# -gt 0 ]; do
    case $1 in
        --from) from=$2; shift 2 ;;
        --root) root=$2; shift 2 ;;
        --venv) venv=$2; shift 2 ;;
        --wheels) wheels=$2; shift 2 ;;
        --updates) updates=$2; shift 2 ;;
        --no-start) start=''; shift ;;
        --dry-run) dry=yes; shift ;;
        -h|--help) usage; exit 0 ;;
        *) echo "install.sh: what is $1?" >&2; usage >&2; exit 2 ;;
    esac
done

fail() { echo "install.sh: $*" >&2; exit 1; }
run() { if [ "$dry" ]; then echo "$*"; else "$@"; fi; }

here=$(cd "$(dirname "$0")" && pwd -P)
dest=${DESTDIR:-}
[ "$from" ] || { usage >&2; exit 2; }
for file in release.json release.json.sig release.pub; do
    [ -f "$from/$file" ] || fail "$from/$file is missing. Name the folder that 'pokeflow package' wrote."
done
case $root in /*) ;; *) fail "--root $root: give an absolute path." ;; esac
case $root$updates in *[!A-Za-z0-9/:._~%-]*) fail "--root and --updates: letters, digits and / : . _ ~ % - alone." ;; esac
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed."
[ -z "$dest" ] || start=''

# A key that is pinned already is not replaced: that is done by hand.
run mkdir -p "$dest$root/releases"
if [ -f "$dest$root/release.pub" ]; then
    cmp -s "$from/release.pub" "$dest$root/release.pub" || echo "install.sh: the key that is pinned stays" >&2
else
    run cp "$from/release.pub" "$dest$root/release.pub"
    run chmod 644 "$dest$root/release.pub"
fi

# What apt brings is seen as well: Hailo's Python package comes no other way.
python=$dest$root/venv/bin/python
if [ "$venv" ]; then
    [ -x "$venv/bin/python" ] || fail "$venv/bin/python is not there."
    run ln -sfn "$(cd "$venv" && pwd)" "$dest$root/venv"
else
    run python3 -m venv --system-site-packages "$dest$root/venv"
    if [ "$wheels" ]; then
        run "$python" -m pip install --quiet --no-index --find-links "$wheels" --requirement "$here/requirements.txt"
    else
        run "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    fi
fi

# The first release comes as every other one does: its signature and its self-test are checked.
if [ "$dry" ]; then
    echo "$python -m pokeflow_edge.runtime.update --from $from --root $dest$root"
else
    PYTHONPATH="$here/lib" "$python" -P -B -m pokeflow_edge.runtime.update \
        --from "$from" --root "$dest$root" --restart '' --stop '' || fail "the release was not installed."
fi

units=$dest/etc/systemd/system
run mkdir -p "$units"
for unit in pokeflow-edge.service pokeflow-edge-update.service pokeflow-edge-update.timer; do
    if [ "$dry" ]; then
        echo "write $units/$unit"
    else
        sed "s|/opt/pokeflow-edge|$root|g" "$here/systemd/$unit" >"$units/$unit"
    fi
done
if [ "$updates" ]; then
    run mkdir -p "$dest/etc/pokeflow-edge"
    if [ "$dry" ]; then
        echo "write $dest/etc/pokeflow-edge/update.conf"
    else
        (umask 077; echo "POKEFLOW_EDGE_FROM=$updates" >"$dest/etc/pokeflow-edge/update.conf")
    fi
fi
if [ "$start" ]; then
    run systemctl daemon-reload
    run systemctl enable --now pokeflow-edge.service
    if [ "$updates" ]; then run systemctl enable --now pokeflow-edge-update.timer; fi
fi
echo "install.sh: $([ "$dry" ] && echo 'nothing was changed' || echo "installed in $root")"
