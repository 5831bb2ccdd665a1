#!/usr/bin/env bash
# Installs the core's wheel alone in an empty environment and runs the tests' toy lineage with it.
# Usage: try_wheels.sh FOLDER_OF_WHEELS SOURCE_TREE
set -euo pipefail

wheels=$(cd "$1" && pwd)
source=$(cd "$2" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
# The wheel of this build, not one of the same version from an index; what it requires comes from the index.
venv/bin/python -m pip install --quiet --constraint "${CONSTRAINTS:-$source/constraints.txt}" "$wheels"/pokeflow-[0-9]*.whl
venv/bin/python -m pip check

imported=$(venv/bin/python -P -c 'import pokeflow; print(pokeflow.__file__)')
case $imported in
"$folder"/*) ;;
*)
	echo "pokeflow is imported from $imported, not from the wheel" >&2
	exit 1
	;;
esac
venv/bin/pokeflow --version
venv/bin/pokeflow --help >/dev/null

# The toy plugin is installed by copying: a package and the metadata with its entry point.
toy=$(find "$source/tests" -type d -name toy -path '*pokeflow_testkit*' | head -n 1)
packages=$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -R "$toy"/. "$packages"/

toy=(lineage=toy data=none target=toy tracking=none registry=none cloud=none)
venv/bin/pokeflow plan "${toy[@]}"
venv/bin/pokeflow "${toy[@]}"
test -d store/tasks/train
# A second run reuses every task.
venv/bin/pokeflow "${toy[@]}" 2>&1 | tee second.txt
grep --quiet "0 of [1-9]" second.txt
