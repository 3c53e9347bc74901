# What is special about fish in the container.
if status is-interactive
    # or fish would make completions out of all manual pages, in every new container
    mkdir -p $__fish_user_data_dir/generated_completions

    # TAB completes the groups and settings of the training command
    if test -e /workspace/hydra/tab_completion_fish -a -e /workspace/src/train.py
        source /workspace/hydra/tab_completion_fish /workspace/src/train.py
    end
end
