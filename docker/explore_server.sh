# shellcheck shell=sh
# Serve the page of trained runs, those in outputs/ and multirun/ of this folder. docker/explore.sh runs it in the
# container, `make explore` without one.
# $1: port; $2: the address to listen on; $3: the host name of the page (pages of any other host may not connect);
# $4: the folder of the code
command -v streamlit >/dev/null || { echo "Streamlit is not installed: make install, or pip install streamlit" >&2; exit 1; }
if python3 -c 'import socket, sys; socket.create_connection((sys.argv[2], sys.argv[1]), 1)' "$1" "$2" 2>/dev/null; then
  echo "port $1 is taken: choose another, as in make explore PORT=$(($1 + 1))" >&2
  exit 1
fi
export PYTHONPATH="$4${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # faster than two for one image
exec streamlit run "$4/explore/app.py" --server.port "$1" --server.address "$2" --browser.serverAddress "$3" \
  --server.headless true --server.fileWatcherType none --browser.gatherUsageStats false \
  --client.toolbarMode minimal --theme.base light --theme.primaryColor '#d9701a'
