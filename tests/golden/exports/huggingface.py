# mixture_id: "rec_01"
# version: 3
# unit: "document_probability"
# seed: 42
# token_budget: 100000595968
# sha256: "7eaf7ce9b2004819633c36cea79505b39f34d5ea8745a9aba7c528e144134557"
# order: ["web", "code", "math", "wiki"]
# expected_epochs: {"web": 0.0611, "code": 0.4167, "math": 1.5, "wiki": 1.6}
# warning: 'dust': left out, because the share is below 1e-06
# warning: 'wiki': /path/to/... is a placeholder; put the path of the data there
# warning: 'wiki' is repeated 1.6 times, above the cap of 1.55
from datasets import interleave_datasets, load_dataset

sources = [
    load_dataset('s3://bucket/web', split='train', streaming=True),  # 'web'
    load_dataset('/data/code', split='train', streaming=True),  # 'code'
    load_dataset('/data/my math', split='train', streaming=True),  # 'math'
    load_dataset('/path/to/wiki', split='train', streaming=True),  # 'wiki'
]
probabilities = [
    0.626581607759,  # 'web'
    0.136213392991,  # 'code'
    0.093987241164,  # 'math'
    0.143217758086,  # 'wiki'
]
mixture = interleave_datasets(
    sources,
    probabilities=probabilities,
    seed=42,
    stopping_strategy='all_exhausted',
)
