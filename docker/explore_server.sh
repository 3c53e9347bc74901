# shellcheck shell=sh
# Serve the page of trained runs, those in outputs/ and multirun/ of this folder. docker/explore.sh runs it in the
# container, `make explore` without one.
# $1: port; $2: the address to listen on; $3: the names of this machine in its URL, separated by spaces, beside localhost:
# requests that name another host are refused, as an attack by DNS rebinding would send them; $4: the folder of the code
port=$1 address=$2 names=$3 code=$4
command -v streamlit >/dev/null || { echo "Streamlit is not installed: make install, or pip install streamlit" >&2; exit 1; }
if python3 -c 'import socket, sys; socket.create_connection((sys.argv[2], sys.argv[1]), 1)' "$port" "$address" 2>/dev/null; then
  echo "port $port is taken: choose another, as in make explore PORT=$((port + 1))" >&2
  exit 1
fi
set --
for name in $names localhost 127.0.0.1 ::1; do
  set -- "$@" --server.allowedHosts "$name"
done
export PYTHONPATH="$code${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # faster than two for one image
exec streamlit run "$code/explore/server.py" --server.port "$port" --server.address "$address" "$@" \
  --browser.serverAddress "${names%% *}" --server.headless true --server.fileWatcherType none \
  --browser.gatherUsageStats false --client.toolbarMode minimal --theme.base light --theme.primaryColor '#d9701a'
