# One image: `docker run IMAGE train`, `docker run IMAGE serve`. README.md says how to use it.
# `--target serve-cpu` is a slim one: the server for models with a compiled engine, without torch.
#
#   BASE_IMAGE   Debian bookworm, from any registry
#   TORCH_INDEX  where torch and torchvision come from: empty for the ordinary index (CUDA build),
#                a URL for another one (a CPU-only index gives a small image), or `torch-index`,
#                the folder of wheels by that name beside this file
#   PRETRAINED   networks whose published weights go into the image: resnet50,mobilenet_v3_small,...
#   PRETRAINED_INDEX  a URL that has these files, where torchvision's own cannot be reached
ARG BASE_IMAGE=debian:bookworm-slim


FROM ${BASE_IMAGE} AS python
# distutils: smdebug imports it. ca-certificates: torchvision's download of weights.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates python3 python3-distutils python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PROGRESS_BAR=off \
    PIP_ROOT_USER_ACTION=ignore


# What the server needs beside a compiled engine; OpenVINO without what drives other devices and
# reads other formats than its own.
FROM python AS serve-packages
COPY container/requirements/serve.txt /build/
RUN python3 -m venv /opt/venv \
    && pip install --no-deps --require-hashes --only-binary :all: -r /build/serve.txt \
    && cd /opt/venv/lib/python3.11/site-packages \
    && rm -r openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/cache.json \
        openvino/libs/libopenvino_intel_npu_plugin.so openvino/libs/libopenvino_*[!r]_frontend.so.* \
        openvino/include numpy/_core/include numpy/*/tests \
    && pip uninstall -y -q setuptools pip


# The slim image: all that serves, and nothing that trains.
FROM python AS serve-cpu
COPY --from=serve-packages /opt/venv /opt/venv
COPY LICENSE THIRD_PARTY.md /opt/program/
COPY artifact /opt/program/artifact
COPY bench /opt/program/bench
COPY container /opt/program/container
COPY pages /opt/program/pages
COPY serve /opt/program/serve
RUN echo /opt/program > /opt/venv/lib/python3.11/site-packages/program.pth \
    && cp /opt/program/container/bin/serve /opt/venv/bin/serve \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/program \
    && chmod -R a+rX,go-w /opt/program \
    && PYTHONDONTWRITEBYTECODE=1 python -P -m container.check_image serve
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-P", "-m", "container.entrypoint"]
CMD ["serve"]
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="image-classification-serve-cpu" \
    org.opencontainers.image.description="Serves image classifiers with a compiled engine on SageMaker" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
    com.amazonaws.sagemaker.capabilities.multi-models="true"


# Packages that have no wheel are built here, where the compilers are.
FROM python AS wheels
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        gcc libc6-dev python3-dev
RUN python3 -m venv /opt/venv
WORKDIR /build
# no more than it needs, so that nothing else makes it run again
COPY container/requirements/build_wheels.py container/requirements/lockfile.py \
    container/requirements/app.txt container/requirements/platform.txt \
    container/requirements/torch-needs.txt container/requirements/
RUN python -m container.requirements.build_wheels /wheels app platform


# A folder of wheels copied into the image would stay in it, so it is unpacked in a stage of its own.
FROM python AS torch-folder
ARG TORCH_INDEX=
RUN python3 -m venv /opt/venv
COPY container/install_torch.sh container/requirements/torch* /build/
COPY container/requirements/torch.in torch-index* /torch-index/
RUN case $TORCH_INDEX in \
    '' | *://*) ;; \
    *) bash /build/install_torch.sh /build "/$TORCH_INDEX" ;; \
    esac


# Everything but our own code: the layer that changes least comes first.
FROM python AS packages
ARG TORCH_INDEX=
COPY --from=torch-folder /opt/venv /opt/venv
COPY container/install_torch.sh container/requirements/torch* /build/
RUN case $TORCH_INDEX in \
    '' | *://*) bash /build/install_torch.sh /build "$TORCH_INDEX" ;; \
    esac \
    && rm -r /build
COPY --from=wheels /wheels /wheels
RUN pip install --no-deps --require-hashes --only-binary :all: --find-links /wheels \
        -r /wheels/locked.txt \
    && rm -r /wheels


# The bill of materials, by a tool that stays out of the image.
FROM packages AS materials
COPY container/requirements/build.txt /build/
RUN python -m venv /build/venv && /build/venv/bin/pip install -q --require-hashes -r /build/build.txt
RUN mkdir /materials \
    && /build/venv/bin/cyclonedx-py environment --output-reproducible --of JSON \
        -o /materials/sbom.json /opt/venv/bin/python \
    && dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' \
        > /materials/debian-packages.txt


# Weights for jobs without a network; not under /opt/ml, where the platform's mounts would hide them.
FROM packages AS weights
ARG PRETRAINED=
ARG PRETRAINED_INDEX=
WORKDIR /build
# no more than it needs, so that nothing else makes it download again
COPY artifact/__init__.py artifact/network.py artifact/vision.py artifact/
COPY train/__init__.py train/bake.py train/published.py train/schema.py train/
RUN python -m train.bake "$PRETRAINED" /opt/pretrained


# Our code as it stands in the image: readable by any user, compiled, for read-only file systems.
FROM python AS code
COPY . /opt/program/
RUN rm -rf /opt/program/torch-index \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/program \
    && chmod -R a+rX,go-w /opt/program


FROM packages AS image
COPY --from=materials /materials /opt/program/
COPY --from=weights /opt/pretrained /opt/pretrained
COPY --from=code /opt/program /opt/program
# Replaces the training toolkit's own `train`.
COPY --from=code /opt/program/container/bin /opt/venv/bin
# A path file and not PYTHONPATH, which every program that a job starts would inherit.
RUN echo /opt/program > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/program.pth" \
    && mkdir /tmp/home \
    && HOME=/tmp/home MPLCONFIGDIR=/tmp/home PYTHONDONTWRITEBYTECODE=1 \
        python -P -m container.check_image \
    && rm -rf /tmp/home
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PRETRAINED_DIR=/opt/pretrained
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-P", "-m", "container.entrypoint"]
CMD ["train"]
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="image-classification" \
    org.opencontainers.image.description="Trains, diagnoses and serves image classifiers on SageMaker" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
    com.amazonaws.sagemaker.capabilities.multi-models="true"
