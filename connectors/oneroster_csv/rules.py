"""The findings about packages and files (codes ``FILE-…``), each declared once.

``field`` of such a finding names a column of the standard or a manifest property, ``cause`` a detail from a closed list
("semicolon", "windows-1252"). Neither ever holds text of the file's rows.
"""

from __future__ import annotations

from transforms.issues import Action, Phase, Rule, Severity, declare


def _refuse(code: str, title: str, howto: str) -> Rule:
    return declare(code, Severity.BLOCK_SYNC, Action.REFUSE, title, howto, phase=Phase.FILE)


def _repair(code: str, title: str, howto: str) -> Rule:
    return declare(code, Severity.WARN, Action.FIX, title, howto, phase=Phase.FILE)


def _report(code: str, title: str, howto: str, severity: Severity = Severity.WARN) -> Rule:
    return declare(code, severity, Action.REPORT, title, howto, phase=Phase.FILE)


def _keep_out(code: str, title: str, howto: str) -> Rule:
    return declare(code, Severity.BLOCK_RECORD, Action.QUARANTINE, title, howto, phase=Phase.FILE)


# Text and rows
ENCODING = _repair(
    "FILE-001",
    "The file is not plain UTF-8; it was read all the same",
    "Export as UTF-8 without byte order mark. If names look wrong, tell the source its encoding.",
)
COLUMN_MISSING = _refuse(
    "FILE-002",
    "A required column is missing or the first row is not a header",
    "Compare the first row with the header of the standard for this file and export all columns.",
)
NO_ROWS = _report(
    "FILE-003",
    "The file has no rows; it counts as not supplied and deletes nothing",
    "Export the rows, or leave the file out and mark it absent in the manifest.",
)
ROW_BROKEN = _keep_out(
    "FILE-004",
    "The row does not fit the header: number of cells, an open quote, a line break inside a cell or a huge cell",
    "Look at this line: quote cells with commas, double the quotes inside, take line breaks out of the field.",
)
MANIFEST_DISAGREES = _refuse(
    "FILE-005",
    "The manifest and the files of the package disagree",
    "Send every file that the manifest marks bulk, and mark every file that is sent.",
)
TOO_MANY_BROKEN = _refuse(
    "FILE-006",
    "Too many rows of the file cannot be read: more than 20 and more than 0.5 %, or all",
    "The export itself is at fault: look at the first lines reported for this file.",
)
ROW_UNDECODABLE = _keep_out(
    "FILE-007",
    "The row holds bytes that are no text (a NUL or bytes outside the encoding)",
    "Remove the strange characters from this record in the source, or set the source's encoding.",
)
BLANK_LINES = _report(
    "FILE-008", "Blank lines were skipped", "Nothing is lost; switch off blank lines in the export.", Severity.INFO
)
LINE_ENDS = _repair(
    "FILE-009", "Unusual line ends were repaired", "End each line with CR LF (or LF alone), once, in the export."
)

# Header
HEADER_SPELLING = _repair(
    "FILE-010",
    "Column names were repaired: case, blanks, underscores, quotes or invisible characters",
    "Write the column names exactly as the standard does.",
)
HEADER_ALIAS = _repair(
    "FILE-011", "A column has a name that is known from other products or versions", "Rename the column in the export."
)
HEADER_ORDER = _repair(
    "FILE-012", "The columns are not in the order of the standard", "Order the columns as the standard does."
)
COLUMN_OPTIONAL_MISSING = _report(
    "FILE-013",
    "Optional columns are missing; they count as blank",
    "Export all columns of the standard, also empty ones.",
    Severity.INFO,
)
COLUMN_UNKNOWN = _report(
    "FILE-014",
    "Columns that the standard does not know are ignored",
    "Name columns of your own metadata.<name> and put them last.",
)
COLUMN_TWICE = _refuse("FILE-015", "A column comes twice", "Keep one column of each name in the export.")
TOO_MANY_COLUMNS = _refuse(
    "FILE-016", "The file has far too many columns or a huge first line", "Check that this is the file you meant."
)
SEPARATOR = _refuse(
    "FILE-017",
    "The cells are not separated by commas",
    "Export with the comma as separator (spreadsheets in many countries write semicolons).",
)

# What bulk files may not say
STATUS_IN_BULK = _report(
    "FILE-020",
    "Status or dateLastModified is filled in a bulk file; both are ignored",
    "Leave both columns blank in bulk files.",
)
DELETED_IN_BULK = _report(
    "FILE-021",
    "The row is marked as deleted or inactive in a bulk file; it counts as not in the file",
    "Leave such rows out of bulk files.",
)

# Manifest
MANIFEST_MISSING = _report(
    "FILE-022",
    "There is no manifest.csv; the version was guessed from the columns and all files count as bulk",
    "Add manifest.csv to the package.",
)
MANIFEST_REPAIRED = _repair(
    "FILE-023", "The manifest was read in spite of a mistake", "Write the manifest exactly as the standard does."
)
MANIFEST_UNKNOWN_PROPERTY = _report(
    "FILE-024", "The manifest has properties that the standard does not know", "Remove them from the manifest."
)
VERSION_UNSUPPORTED = _refuse(
    "FILE-025",
    "The manifest does not name a version that is supported",
    "oneroster.version must be 1.1 or 1.2, manifest.version 1.0.",
)
DELTA_MIXED = _refuse(
    "FILE-026",
    "A file of changes (delta) and the file that its rows belong to are not meant alike",
    "Mark both as bulk or both as delta in the manifest.",
)
MODE_UNKNOWN = _refuse(
    "FILE-027",
    "Without a manifest nobody can tell whether these rows are all records or only changes",
    "Add manifest.csv with bulk for each file, or leave status and dateLastModified blank.",
)
COMPANION_MISSING = _refuse(
    "FILE-028",
    "A file that this file refers to is missing",
    "Send the named file too: every record that a bulk file refers to must be in the package.",
)

# Package
NOT_A_ZIP = _refuse("FILE-030", "The package is not a ZIP archive", "Send one .zip with the CSV files in it.")
DAMAGED = _refuse(
    "FILE-031",
    "The package is damaged or was cut short",
    "Send it again. Upload under another name and rename it when it is complete.",
)
TOO_MANY_ENTRIES = _refuse("FILE-032", "The archive has too many entries", "Pack the CSV files of OneRoster only.")
TOO_LARGE = _refuse(
    "FILE-033",
    "The archive unpacks to more than is allowed",
    "Check the files; the limits are settings of the hub.",
)
NESTED = _refuse("FILE-034", "The archive holds another archive", "Put the CSV files directly into one archive.")
ENCRYPTED = _refuse(
    "FILE-035", "The archive is encrypted", "Send it without password; the way it travels is encrypted."
)
UNSAFE_NAME = _refuse(
    "FILE-036",
    "The archive holds a link or a name that leads elsewhere",
    "Pack the CSV files again, directly and under their own names.",
)
NAME_TWICE = _refuse("FILE-037", "A file is in the package twice", "Keep one file of each name.")
COMPRESSION = _refuse(
    "FILE-038", "The archive uses a compression that is not supported", "Use the usual ZIP compression (deflate)."
)
TOP_FOLDER = _repair(
    "FILE-040", "The files are inside a folder of the archive", "Put the CSV files at the top of the archive."
)
FILE_NAME = _repair("FILE-041", "A file name was repaired", "Name the files exactly as the standard does.")
FILE_IGNORED = _report(
    "FILE-042", "Files that are not read are ignored", "Nothing is lost that the hub reads.", Severity.INFO
)
NOTHING_TO_READ = _refuse(
    "FILE-043", "The package holds no file of OneRoster", "Send orgs.csv, users.csv and so on, at the top of one .zip."
)
CUT_SHORT = _report(
    "FILE-044",
    "The file ends in the middle of a row: it was probably cut short",
    "Send it whole: upload it under another name and rename it when it is complete.",
)
