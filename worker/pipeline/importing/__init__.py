"""A lender's CSV files into the book."""

from worker.pipeline.importing.errors import ImportRefused
from worker.pipeline.importing.kinds import Kind
from worker.pipeline.importing.load import ImportOptions, ImportReport, import_file
from worker.pipeline.importing.source import Encoding

__all__ = ["Encoding", "ImportOptions", "ImportRefused", "ImportReport", "Kind", "import_file"]
