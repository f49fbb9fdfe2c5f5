# docker build -t dissent . && docker run --rm dissent --help
# For CPUs. LibTorch is the torch wheel of requirements.txt, so the image takes several GB.
FROM debian:12-slim AS build
WORKDIR /opt/dissent/source
COPY . .
RUN scripts/setup
RUN scripts/build --no-setup release -DDISSENT_CUDA=OFF -DDISSENT_BUILD_TESTS=OFF -DDISSENT_BUILD_BENCH=OFF \
 && cmake --install build/release --prefix /opt/dissent

FROM debian:12-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      openmpi-bin libopenmpi3 libhdf5-openmpi-103-1 libboost-program-options1.74.0 libspdlog1.10 libfmt9 libtomlplusplus3 libgomp1 zlib1g libjpeg62-turbo libpng16-16 openssh-client gnuplot-nox fonts-dejavu-core \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/dissent/source/.venv /opt/dissent/source/.venv
COPY --from=build /opt/dissent/bin /opt/dissent/bin
COPY --from=build /opt/dissent/libexec /opt/dissent/libexec
COPY --from=build /opt/dissent/share /opt/dissent/share
ENV PATH=/opt/dissent/bin:$PATH
WORKDIR /data
ENTRYPOINT ["dissent"]
