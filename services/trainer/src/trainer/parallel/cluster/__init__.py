"""Runs tasks on many machines, with Dask's ``distributed``. Nothing of it is imported unless a cluster is named.

Dask connects, authenticates (mutual TLS), hands tasks out and notices lost workers. Answers, reports and tables go over
the connections that workers and clients open to the scheduler: no one has to reach a worker, which may be behind
another network's gateway.
"""
