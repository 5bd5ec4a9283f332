# Two images of `retouch`: --target cpu (the default) and --target cuda, which adds the CUDA half of libtorch. Needs BuildKit.
#
# The binary is linked against /usr/lib/retouch/torch/lib and carries that path as its rpath, so both stages keep libtorch there.

# Libraries and headers out of PyTorch's wheels, without the CUDA half: the linker must not see it (build.rs).
FROM python:3.12-slim-bookworm AS libtorch
WORKDIR /build
COPY .ci/libtorch.py .ci/
RUN mkdir /usr/lib/retouch && mv "$(python3 .ci/libtorch.py)" /usr/lib/retouch/torch

# The CUDA half, and what it loads. The wheels' libraries look for one another in ../../nvidia, seen from torch/lib.
FROM python:3.12-slim-bookworm AS cuda-libraries
WORKDIR /build
COPY .ci/cuda.txt .ci/
RUN pip install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary=:all: --target wheels -r .ci/cuda.txt \
    && mkdir -p /usr/lib/retouch/torch/lib \
    && mv wheels/torch/lib/libtorch_cuda*.so wheels/torch/lib/libc10_cuda.so wheels/torch/lib/libcaffe2_nvrtc.so \
        wheels/torch/lib/libtorch_nvshmem.so /usr/lib/retouch/torch/lib/ \
    && find wheels/nvidia -mindepth 2 -maxdepth 2 ! -name lib -exec rm -r {} + \
    && mv wheels/nvidia /usr/lib/retouch/nvidia \
    && rm -r wheels

# CUDA graphs and fused layers; it takes headers alone from NVIDIA's wheels.
FROM python:3.12-slim-bookworm AS cuda-library
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=libtorch /usr/lib/retouch /usr/lib/retouch
ENV LIBTORCH=/usr/lib/retouch/torch
WORKDIR /build
COPY .ci/libtorch.py .ci/cuda_library.py .ci/
COPY src/kernels/gpu/library src/kernels/gpu/library/
RUN python3 .ci/cuda_library.py /out

FROM rust:1.95-slim-bookworm AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make \
    && rm -rf /var/lib/apt/lists/*
COPY --from=libtorch /usr/lib/retouch /usr/lib/retouch
ENV LIBTORCH=/usr/lib/retouch/torch
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked && install -D target/release/retouch /out/retouch

# All but the CUDA half. The demo model lies where the binary looks for it: ../share, seen from its own folder.
FROM debian:bookworm-slim AS server
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 retouch \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin retouch \
    && install -d -o 65532 -g 65532 /var/lib/retouch
COPY --from=libtorch /usr/lib/retouch/torch/lib /usr/lib/retouch/torch/lib
COPY LICENSE assets/fonts/OFL.txt /usr/share/doc/retouch/
COPY assets/clip/LICENSE /usr/share/doc/retouch/CLIP-LICENSE
COPY assets/words/LICENSE /usr/share/doc/retouch/WORDS-LICENSE
COPY assets/demo-model /usr/share/retouch/demo-model
COPY --from=builder /out/retouch /usr/bin/retouch
USER 65532:65532
# Fails here, not in a cluster, where a library is missing.
RUN ["retouch", "--version"]
EXPOSE 50051 9090
ENTRYPOINT ["retouch"]
CMD ["serve"]

# NVIDIA's container runtime brings the driver: libcuda.so.1 is not in the image.
FROM server AS cuda
COPY --from=cuda-libraries /usr/lib/retouch /usr/lib/retouch
COPY --from=cuda-library /out/libretouch_cuda.so /usr/share/retouch/
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM server AS cpu
