# The environment of PatchSets, without its source, which is mounted at /workspace. docker/build.sh builds it.
# The base can be any Debian with python3 and its venv; it needs no CUDA, as PyTorch's wheels bring their own.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM $PYTHON_IMAGE

# torch.compile needs g++ and Python.h. The official Python images have Python.h, Debian's python3 has not.
RUN export DEBIAN_FRONTEND=noninteractive \
 && include=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))') \
 && apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates curl fish g++ gcc git less make nano procps tzdata \
      $([ -e "$include/Python.h" ] || echo python3-dev) \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory '*'

# The same user as on the host, who then owns the files written to mounted folders. UID and GID may exist already, or be
# 0 (rootless engines). --no-log-init: the login log grows with the UID, to gigabytes for UIDs of a directory service.
ARG UID=1000
ARG GID=1000
RUN groupadd --non-unique --gid $GID user \
 && useradd --non-unique --uid $UID --gid $GID --no-log-init --create-home --shell /usr/bin/fish user

# This layer comes last and depends on the lock alone: a new lock rebuilds no other layer. It includes the chown, which
# in a layer of its own would store every file a second time.
RUN --mount=type=cache,target=/root/.cache --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --disable-pip-version-check "$(grep -oE '^uv==[^ ]+' /tmp/requirements.txt)" \
 && /opt/venv/bin/uv pip sync --python /opt/venv/bin/python --require-hashes --system-certs --link-mode copy \
      --compile-bytecode --quiet /tmp/requirements.txt \
 && chown -R $UID:$GID /opt/venv
# make compares it with the workspace's lock, and installs nothing if they are equal
COPY --chown=$UID:$GID requirements.txt /opt/venv/.installed
COPY docker/config.fish /etc/fish/conf.d/patch_sets.fish

ENV LANG=C.UTF-8 VIRTUAL_ENV=/opt/venv VENV=/opt/venv PATH=/opt/venv/bin:$PATH
LABEL devcontainer.metadata='[{"remoteUser": "user", "customizations": {"vscode": {"settings": \
{"python.defaultInterpreterPath": "/opt/venv/bin/python"}}}}]'
USER user
WORKDIR /workspace
CMD ["fish"]
