# The environment of PatchSets, without its source, which is mounted at /workspace. docker/build.sh builds it.
# The base is pinned to a version of Python and a release of Debian, whose security updates arrive with the next build;
# PYTHON_IMAGE=python@sha256:... pins every byte. It can be any Debian with Python 3.11 or later and its venv; it needs no
# CUDA, as PyTorch's wheels bring their own.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# What is installed: the lock, or with PARTS (optional dependencies of pyproject.toml) only what these and the core need,
# in the same versions. A stage of its own: another pyproject.toml that gives the same list rebuilds no layer of the image.
FROM $PYTHON_IMAGE AS lock
ARG LOCK=requirements.txt
ARG PARTS=all
WORKDIR /lock
COPY $LOCK whole
RUN --mount=type=cache,target=/root/.cache --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    if [ "$PARTS" = all ]; then cp whole "$LOCK"; exit; fi \
 && python3 -m venv /tmp/venv && grep -oE '^uv==[^ ]+' whole >/tmp/uv.txt \
 && /tmp/venv/bin/pip install --quiet --disable-pip-version-check --requirement /tmp/uv.txt \
 && for part in $PARTS; do set -- "$@" --extra "$part"; done \
 && /tmp/venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
      --no-emit-index-url --system-certs --constraint whole --output-file "$LOCK" "$@" pyproject.toml /tmp/uv.txt

FROM $PYTHON_IMAGE
# torch.compile needs g++ and Python.h. The official Python images have Python.h, Debian's python3 has not.
# Versions are Debian's current ones: its archive keeps no others, and the base names the release.
# hadolint ignore=DL3008
RUN export DEBIAN_FRONTEND=noninteractive \
 && include=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))') \
 && [ -e "$include/Python.h" ] || python_dev=python3-dev \
 && apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates curl fish g++ gcc git less make nano procps tzdata ${python_dev:+"$python_dev"} \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory '*'

# The same user as on the host, who then owns the files written to mounted folders. UID and GID may exist already, or be
# 0 (rootless engines). --no-log-init: the login log grows with the UID, to gigabytes for UIDs of a directory service.
ARG UID=1000
ARG GID=1000
RUN groupadd --non-unique --gid $GID user \
 && useradd --non-unique --uid $UID --gid $GID --no-log-init --create-home --shell /usr/bin/fish user

# This layer comes last and depends on the lock alone: a new lock rebuilds no other layer. It includes the chown, which
# in a layer of its own would store every file a second time, as would a copy from a stage that installs. make compares
# the lock in .installed, the whole one, with the workspace's, and installs nothing if they are equal.
ARG LOCK=requirements.txt
ARG CPU=
RUN --mount=type=cache,target=/root/.cache --mount=type=bind,from=lock,source=/lock,target=/lock \
    --mount=type=bind,source=docker/install.sh,target=/tmp/install.sh \
    python3 -m venv /opt/venv \
 && sh /tmp/install.sh /opt/venv "/lock/$LOCK" --system-certs --link-mode copy --compile-bytecode \
 && installed=$(head -n 1 /opt/venv/.installed) && { echo "$installed" && cat /lock/whole; } >/opt/venv/.installed \
 && chown -R $UID:$GID /opt/venv
COPY docker/config.fish /etc/fish/conf.d/patch_sets.fish

ENV LANG=C.UTF-8 VIRTUAL_ENV=/opt/venv VENV=/opt/venv PATH=/opt/venv/bin:$PATH
LABEL devcontainer.metadata='[{"remoteUser": "user", "customizations": {"vscode": {"settings": \
{"python.defaultInterpreterPath": "/opt/venv/bin/python"}}}}]'
# by name, as its number may be another user's too, with another home
# hadolint ignore=DL3066
USER user
WORKDIR /workspace
CMD ["fish"]
