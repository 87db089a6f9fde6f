"""Where many images come from: folders, webdataset shards, parquet files, and stores that fsspec reaches.

A source becomes parts, and a part becomes tasks of a folder run (`tracedge.jobs.Task`) when it is read, one after the
other: so a shard of a terabyte is never held, and any process can read any part.

    find.py      inputs -> parts; what can be refused before any work is refused here
    files.py     files, of this machine or of a store
    shards.py    webdataset: tar archives
    tables.py    parquet: a column of encoded images, or of their paths
    stores.py    fsspec: s3://, gs://, https://, memory://
    names.py     what outputs are called; whatever a member calls itself, no output leaves its folder
    mended.py    archives that could not be read to their end, and then could
    member.py    an image that is not a file of this machine, as a task
"""

from tracedge.sources.files import LocalFiles
from tracedge.sources.find import FILES_AT_ONCE, find_parts
from tracedge.sources.member import Part
from tracedge.sources.tables import Columns

__all__ = ["FILES_AT_ONCE", "Columns", "LocalFiles", "Part", "find_parts"]
