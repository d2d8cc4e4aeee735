"""Jobs: work that outlives a request. The database is the truth, Celery only rings."""
