"""A store that keeps what it has read on the local disk: a wrapper for stores over a network.

store      `CachedStore`, the wrapper
reader     one pack: what of it is here, what is being fetched
flights    the queue of requests: how many at once, which first
blockfile  one pack's file in the cache, artfs-format(5), CACHE
objects    small immutable objects, kept whole
room       how much the cache may take, and what goes first
counts     what the cache has saved, for all processes

Nothing kept here is believed: blocks are parts of packs, and whoever reads a blob proves it by its
digest; one that is not right is given up by `ObjectReader.distrust`, and fetched again.
"""
