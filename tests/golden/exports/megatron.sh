# mixture_id: "rec_01"
# version: 3
# unit: "sequence_share"
# seed: 42
# token_budget: 100000595968
# sha256: "7eaf7ce9b2004819633c36cea79505b39f34d5ea8745a9aba7c528e144134557"
# order: ["web", "code", "math", "wiki"]
# expected_epochs: {"web": 0.0611, "code": 0.4167, "math": 1.5, "wiki": 1.6}
# warning: 'dust': left out, because the share is below 1e-06
# warning: 'wiki': /path/to/... is a placeholder; put the path of the data there
# warning: 'wiki' is repeated 1.6 times, above the cap of 1.55
# use: "${DATA_ARGS[@]}"
DATA_ARGS=(
  --data-path
  0.550000275 s3://bucket/web
  0.250000125 /data/code
  0.12000006 '/data/my math'
  0.07999954 /path/to/wiki
)
