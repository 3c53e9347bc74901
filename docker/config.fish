# Settings of fish in the container.
if status is-interactive
    # without this folder, fish generates completions from all manual pages in every new container
    mkdir -p $__fish_user_data_dir/generated_completions

    # TAB completes the groups and settings of the training command
    if test -e /workspace/hydra/tab_completion_fish -a -e /workspace/src/train.py
        source /workspace/hydra/tab_completion_fish /workspace/src/train.py
    end
end
