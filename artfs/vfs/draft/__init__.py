"""Drafts: writable trees over a version, journalled on local disk until they are committed.

state       drafts as directories: create, open, list, discard
tree        the filesystem; made of namespace, names, listing (what is called what), content,
            datafiles, intervals (bytes), inodes, numbers, handles, attrs, garbage, space, gate
journal     the overlay as SQLite tables: schema says which, wal is their log, recent has what is
            not in them yet; codec writes entries and inodes into it
commit      a version from a running draft; made of snapshot and building
status      what a draft has changed
control     what the command line asks of a running draft
"""
