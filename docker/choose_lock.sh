#!/bin/sh
# sh docker/choose_lock.sh [VENV]
#
# Prints the lock that fits this machine's GPUs, and on stderr why: requirements.txt (CUDA 13) needs driver 580 and GPUs of
# compute capability 7.5, requirements-cuda12.txt (CUDA 12) driver 525 and compute capability 7.0. CUDA=12 or CUDA=13
# chooses, CPU=1 means torch without CUDA; both are read from the environment, else from .env. In the environment, a
# path as CUDA (module systems set it) and the machine's name as CPU (SUSE sets it) count as not set.
#
# With VENV, prints what has to be installed there: the lock, and CPU=1 after it; nothing if VENV has that already. VENV
# keeps its lock until CUDA or CPU asks for another: the driver is not asked again. '' stands for a new environment.
set -eu
cd "$(dirname "$0")/.."

# set lock and reason by the driver. nvidia-smi prints "550.54.14, 8.0" for each GPU.
ask_driver() {
  lock=requirements.txt reason="CUDA 13"
  if ! command -v nvidia-smi >/dev/null; then
    reason="$reason, as there is no nvidia-smi"
    [ "$(uname -s)" = Darwin ] ||
      reason="$reason. CPU=1 leaves out CUDA's 4 GB; choose CUDA=12 for another machine whose driver is older than 580"
    return
  fi
  # a driver that does not know compute_cap is older than 525. The exit code is 15 too where one GPU of several is lost
  gpus=$(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>&1) || true
  case $gpus in [0-9]*) ;; *) gpus=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1) || true ;; esac
  driver=${gpus%%[!0-9.]*} # of the first line; all GPUs have the same
  # compute capability of the oldest GPU that torch supports, times 10; 0 if there is none, nothing if it is not known
  oldest=$(echo "$gpus" | awk -F ', *' '$2 ~ /^[0-9]+\.[0-9]+$/ { known = 1; c = int($2 * 10 + 0.5) }
    c >= 70 && (!best || c < best) { best = c } END { if (known) print best + 0 }')
  on_cpu="$reason, but training runs on the CPU"
  if [ -z "$driver" ]; then
    reason="$reason, as nvidia-smi reports no GPU ($(echo "$gpus" | sed 1q)). CUDA=12 is for a driver older than 580"
  elif [ "${driver%%.*}" -lt 525 ]; then
    reason="$on_cpu: driver $driver is older than 525, which CUDA 12 needs. Install a newer driver"
  elif [ "$oldest" = 0 ]; then
    reason="$on_cpu: no GPU here has compute capability 7.0, which CUDA 12 needs. CPU=1 leaves out CUDA's 4 GB"
  elif [ "${driver%%.*}" -ge 580 ] && [ "${oldest:-75}" -ge 75 ]; then
    reason="$reason, as the driver is $driver"
  elif [ "$(uname -m)" != x86_64 ]; then
    reason="$on_cpu: it needs driver 580 (this is $driver), and CUDA 12 an x86_64 processor. Install a newer driver"
  elif [ "${driver%%.*}" -lt 580 ]; then
    lock=requirements-cuda12.txt reason="CUDA 12, as driver $driver is older than 580, which CUDA 13 needs"
  else
    lock=requirements-cuda12.txt reason="CUDA 12, as a GPU has compute capability 7.$((oldest - 70)), and CUDA 13 needs 7.5"
  fi
}

case ${CUDA-} in */*) unset CUDA ;; esac
[ "${CPU-}" != "$(uname -m)" ] || unset CPU
cuda=${CUDA-} cpu=${CPU-}
if [ -f .env ]; then
  cuda=$(bash -c 'source docker/settings.sh; setting CUDA ""' choose_lock.sh)
  cpu=$(bash -c 'source docker/settings.sh; setting CPU ""' choose_lock.sh)
fi
case $cuda in '' | 12 | 13) ;; *) echo "CUDA=$cuda: choose CUDA=12 or CUDA=13, or leave it out" >&2 && exit 1 ;; esac
case $cpu in '' | 0 | 1) ;; *) echo "CPU=$cpu: choose CPU=1 (torch without CUDA) or CPU=0" >&2 && exit 1 ;; esac

# .installed has what was printed here as its first line, then a copy of the lock
has='' before=''
if [ -n "${1-}" ] && [ -f "$1/.installed" ]; then
  has=$(head -n 1 "$1/.installed")
  case $has,$cpu in
    requirements*.txt\ CPU=1,0) ;; # its lock was not chosen by the driver
    requirements*.txt\ CPU=1,*) before=${has% *} cpu=1 ;;
    requirements*.txt,*) before=$has ;;
  esac
fi

if [ -n "$cuda" ]; then
  lock=requirements.txt reason="CUDA=$cuda"
  [ "$cuda" = 13 ] || lock=requirements-cuda12.txt
elif [ -n "$before" ]; then
  lock=$before reason="as before"
elif [ "$cpu" = 1 ]; then
  lock=requirements.txt reason=""
else
  ask_driver
fi
wanted=$lock
if [ "$cpu" = 1 ]; then
  wanted="$lock CPU=1" reason="${reason:+$reason, }CPU=1"
fi

if [ $# = 0 ]; then
  echo "$lock"
elif [ "$has" = "$wanted" ] && sed 1d "$1/.installed" | cmp -s - "$lock"; then
  exit
else
  echo "$wanted"
fi
echo "$lock: $reason" >&2
