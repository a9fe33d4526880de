"""Drafts: writable trees over a version, journalled on local disk until they are committed.

records     drafts on disk, for those who only look: draft.json, list, discard
state       drafts as directories: create, open
tree        the filesystem; made of namespace, names, listing (what is called what), content,
            datafiles, intervals (bytes), inodes, numbers, handles, attrs, garbage, space, gate
journal     the overlay as SQLite tables: schema says which, wal is their log, which emptying and
            shortlog keep short, recent has what is not in them yet; pages reads many rows of
            them, codec writes entries and inodes into them
commit      a version from a running draft; made of snapshot, building, rebasing, foreign; policy
            names what is done with what others changed
status      what a draft has changed
control     what the command line asks of a running draft
"""
