#!/usr/bin/env bash
# Makes the virtual environment with every pinned package. Usage: setup.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

# Debian packages that the Python packages lean on: install where we may, else say which.
missing=()
command -v "$python" >/dev/null || missing+=(python3.11)
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3.11-venv)
ldconfig -p | grep -q libEGL.so.1 || ldconfig -p | grep -q libOSMesa.so || missing+=(libegl1 libgl1-mesa-dri libgl1)
command -v qemu-system-arm >/dev/null || missing+=(qemu-system-arm)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
# Pages are tested in a browser.
command -v chromium >/dev/null && command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q
        apt-get install -y -q --no-install-recommends "${missing[@]}"
    else
        echo "missing Debian packages; run: sudo apt-get install ${missing[*]}" >&2
        exit 2
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv==0.13.8'
# uv does not read pip's variable: a CPU build of PyTorch that is offered locally is found through it.
export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --constraint constraints.txt --editable '.[all]'
