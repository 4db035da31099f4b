#!/bin/sh
# What the tests of clusters and databases need beyond the Python packages, on Debian and Ubuntu.
# They skip, and say why, where it is missing.
set -eu
apt-get update -qq
apt-get install -qq -y --no-install-recommends iproute2 munge openssh-client \
  openssh-server postgresql rsync shellcheck slurm-wlm util-linux
