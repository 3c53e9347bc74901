# shellcheck shell=sh
# Run by docker/stop.sh in the container: SIGTERM to the trainings there, and up to $1 seconds for them to end.

program() {
  tr '\0' '\n' <"/proc/$1/cmdline" | head -n 1 | sed 's|.*/||; s|^-||'
} 2>/dev/null # it may have ended meanwhile

# status PID FIELD: 1 is the state, 2 the parent, 3 the process group; they follow the name, which may hold spaces
status() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f "$2"
}

# A zombie has: its parent, a halted shell, cannot take note of it.
ended() {
  case $(status "$1" 1) in "" | Z | X) ;; *) return 1 ;; esac
}

# Shells halt, or a loop in one of them would start its next training. Pythons are told, unless they are workers of
# another one, which ends them itself: a DataLoader takes a worker's death for an error.
trainings=
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  case $pid in 1 | "$$") continue ;; esac
  case $(program "$pid") in
    sh | ash | bash | dash | fish | zsh) kill -STOP "$pid" 2>/dev/null ;;
    python*)
      case $(program "$(status "$pid" 2)") in
        python*) [ "$(status "$pid" 3)" = "$pid" ] || continue ;;
      esac
      kill -TERM "$pid" 2>/dev/null && trainings="$trainings $pid"
      kill -CONT "$pid" 2>/dev/null # one that Ctrl-Z has halted
      ;;
  esac
done

[ -z "$trainings" ] || echo "docker/stop.sh: Python processes get up to $1 s to end:$trainings" >&2
end=$(($(date +%s) + $1))
for pid in $trainings; do
  until ended "$pid"; do
    if [ "$(date +%s)" -ge "$end" ]; then
      echo "docker/stop.sh: process $pid has not ended within $1 s and is killed" >&2
      exit
    fi
    sleep 0.1
  done
done
