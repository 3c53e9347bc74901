# shellcheck shell=sh
# docker/stop.sh runs this in the container: send SIGTERM to its trainings and give them up to $1 seconds to end.

program() {
  tr '\0' '\n' <"/proc/$1/cmdline" | head -n 1 | sed 's|.*/||; s|^-||'
} 2>/dev/null # the process may have ended meanwhile

# status PID FIELD: print its state (1), parent (2), process group (3) or session (4); these follow the name, which may
# have spaces
status() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f "$2"
}

# ended PID: a zombie counts as ended, as its parent, a halted shell, cannot reap it
ended() {
  case $(status "$1" 1) in "" | Z | X) ;; *) return 1 ;; esac
}

# The servers of docker/*.sh have nothing to save: they end with the container. Each is a session, with its helpers; a
# kernel of Jupyter, which may train, has a session of its own.
servers=" "
for file in /tmp/patch_sets_servers/*.pid; do
  [ ! -e "$file" ] || servers="$servers$(status "$(cat "$file")" 4) "
done

# Halt the shells, as a loop in one of them would start its next training. Send SIGTERM to each Python process, except
# to workers of another one, which ends them itself: a DataLoader takes the death of a worker for an error.
trainings=
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  case $pid in 1 | "$$") continue ;; esac
  case $(program "$pid") in
    sh | ash | bash | dash | fish | zsh) kill -STOP "$pid" 2>/dev/null ;;
    python*)
      case $servers in *" $(status "$pid" 4) "*) continue ;; esac
      case $(program "$(status "$pid" 2)") in
        python*) [ "$(status "$pid" 3)" = "$pid" ] || continue ;;
      esac
      kill -TERM "$pid" 2>/dev/null && trainings="$trainings $pid"
      kill -CONT "$pid" 2>/dev/null # in case Ctrl-Z has halted it
      ;;
  esac
done

[ -z "$trainings" ] || echo "docker/stop.sh: waiting up to $1 s for Python processes to end:$trainings" >&2
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
