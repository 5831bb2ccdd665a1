#!/usr/bin/env bash
# Begins a job in its container: unpacks the program, installs what the image lacks, and runs the task.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v python3 || command -v python)
code=$(mktemp -d)
tar -xzf "$here/code.tar.gz" -C "$code"
if [ "$1" = install ] && ! "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"; then
	for file in failure message; do
		mkdir -p /opt/ml/output
		echo "pip could not install what the code needs; the log says why. Use an image that has it (container.image, container.install: false), or give the job a way to the package registry." >"/opt/ml/output/$file"
	done
	exit 1
fi
shift
export PYTHONPATH="$code" PYTHONUNBUFFERED=1
exec "$python" "$here/container.py" "$@"
