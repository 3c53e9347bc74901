# shellcheck shell=sh
# Serves TensorBoard on outputs/ and multirun/ of this folder: docker/tensorboard.sh starts it in the container,
# `make tensorboard` without one. $1: port; $2: the address to listen on
# One folder with links to both, whether they exist yet or not; --logdir_spec would disable the fast reader.
mkdir -p .tensorboard
ln -sfn ../outputs ../multirun .tensorboard
[ "$2" = 0.0.0.0 ] || echo "http://localhost:$1"
exec tensorboard --logdir .tensorboard --host "$2" --port "$1"
