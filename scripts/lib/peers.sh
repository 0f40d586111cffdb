# Sourced by scripts/bench and scripts/load: other engines, each in an environment of its own under build/peers.

# install_peer NAME PACKAGES...: a peer that does not install is left out, and the results say why.
install_peer() {
  local name=$1 log=build/peers/$1.log
  shift
  [ -x "build/peers/$name/bin/python" ] && return 0
  say "Peer: $name ($*)"
  if build/venv/bin/uv venv -q "build/peers/$name.part" > "$log" 2>&1 &&
    retry 2 build/venv/bin/uv pip install -q --python "build/peers/$name.part/bin/python" "$@" >> "$log" 2>&1; then
    rm -rf "build/peers/$name" && mv "build/peers/$name.part" "build/peers/$name" && rm -f "$log"
  else
    rm -rf "build/peers/$name.part"
    echo "$name does not install here: $(tail -n 1 "$log")" >&2
  fi
}

# What installs them.
need_uv() {
  build/venv/bin/python -m pip install -q --disable-pip-version-check uv || echo "uv does not install: no peers from PyPI" >&2
}
