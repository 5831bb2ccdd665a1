#!/usr/bin/env bash
# Entry point of a job's container: unpacks the code, installs missing requirements, and runs the task.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v python3 || command -v python)
code=$(mktemp -d)
tar -xzf "$here/code.tar.gz" -C "$code"
if [ "$1" = install ] && ! "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"; then
	for file in failure message; do
		mkdir -p /opt/ml/output
		echo "pip could not install the requirements of the code; see the log. Use an image that contains them (container.image, container.install: false), or give the job network access to the package index." >"/opt/ml/output/$file"
	done
	exit 1
fi
shift
export PYTHONPATH="$code" PYTHONUNBUFFERED=1
exec "$python" "$here/container.py" "$@"
