FROM scratch
COPY app /worker
