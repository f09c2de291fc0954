"""Pseudonyms for patients and series, and the one file that says who they are."""

from __future__ import annotations

import csv
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..common.errors import InputError
from ..common.files import OWNER_ONLY, without_apostrophe, write_table

KEY_FILE = "keys.csv"
PATIENT, SERIES, SALT = "patient", "series", "salt"
PREFIXES = {PATIENT: "p", SERIES: "s"}
AND = " | "  # separator between the names of one identity
DIGITS = 9  # hexadecimal: two of 10,000 series share a name with a chance of 0.1 %, and then an error says so
SALT_BYTES = 16


@dataclass(frozen=True)
class Key:
    """One row of the key table: who or what a pseudonym stands for.

    Args:
        pseudonym: of a patient, ``p`` and nine hexadecimal digits; of a series, ``s`` and nine; of the row ``salt``,
            the salt.
        kind: patient, series or salt.
        identity: the text that the pseudonym is a hash of: a patient's ID, a series' UID, a file's place in its folder.
        patient: the pseudonym of a series' patient.
        patient_name: as in the headers; for a patient all names found with the identity, separated by `` | ``.
        birth_date: likewise.
        source: a series' file, or the folder that holds its images.
        description: a series' description, free text that may name the patient.
    """

    pseudonym: str
    kind: str
    identity: str = ""
    patient: str = ""
    patient_name: str = ""
    birth_date: str = ""
    source: str = ""
    description: str = ""


COLUMNS = [field.name for field in fields(Key)]


class KeyTable:
    """Pseudonyms from a salted hash (HMAC-SHA-256), and the identity behind each.

    The same salt gives the same identity the same name. Without the table nobody can go back: identities are short
    and guessable, the salt isn't.

    Args:
        salt: secret, hexadecimal; by default a new one.
        keys: rows made with this salt.
    """

    def __init__(self, salt: str = "", keys: Iterable[Key] = ()) -> None:
        self.salt = salt or secrets.token_hex(SALT_BYTES)
        self._keys = {key.pseudonym: key for key in keys}

    @classmethod
    def read(cls, path: str | Path) -> KeyTable:
        """Read a table written by ``write``.

        Raises:
            InputError: if it is missing or isn't a key table.
        """
        try:
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames is None or not {*COLUMNS} <= {*reader.fieldnames}:
                    raise InputError(f"{path}: no key table, expected the columns {', '.join(COLUMNS)}")
                keys = [Key(**{name: without_apostrophe(row[name] or "") for name in COLUMNS}) for row in reader]
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{path}: the key table can't be read ({reason}); python -m ncct_cta.prepare scan writes it"
            ) from error
        salts = [key.pseudonym for key in keys if key.kind == SALT]
        if len(salts) != 1:
            raise InputError(f"{path}: holds {len(salts)} rows of kind salt, expected one; restore it from a copy")
        return cls(salts[0], [key for key in keys if key.kind != SALT])

    @classmethod
    def open(cls, path: str | Path) -> KeyTable:
        """Read the table at this path, or create one with a new salt if the file doesn't exist."""
        return cls.read(path) if Path(path).exists() else cls()

    def add_patient(self, identity: str, *, name: str = "", birth_date: str = "") -> str:
        """Return the pseudonym of a patient and enter the patient into the table."""
        return self._add(PATIENT, identity, patient_name=name, birth_date=birth_date)

    def add_series(
        self,
        identity: str,
        *,
        patient: str,
        source: str | Path,
        description: str = "",
        name: str = "",
        birth_date: str = "",
    ) -> str:
        """The pseudonym of a series or a volume's file, which is entered into the table.

        Args:
            identity: of a DICOM series ``dicom.series.Series.key``; for a file, what distinguishes it from the
                patient's other files.
            patient: the patient's pseudonym.
            source: the folder or file to read it from.
            description: free text of the header.
            name: the patient's name in this series, if an ID has several.
            birth_date: likewise.
        """
        place = str(Path(source).absolute())
        person = {"patient_name": name, "birth_date": birth_date}
        return self._add(SERIES, identity, patient=patient, source=place, description=description, **person)

    def source_of(self, series: str) -> tuple[Path, str | None]:
        """Where a series lies: its file, or its folder and its key (``dicom.series.Series.key``).

        Args:
            series: its pseudonym.

        Returns:
            The file and None, or the folder and the key of the DICOM series in it.

        Raises:
            InputError: if it isn't in the table.
        """
        key = self._keys.get(series)
        if key is None or key.kind != SERIES:
            raise InputError(f"series {series!r} is not in the key table; expected a name that scan gave")
        source = Path(key.source)
        return source, (None if source.is_file() else key.identity)

    def write(self, path: str | Path) -> None:
        """Write the table, readable by its owner only, atomically.

        Raises:
            InputError: if it can't be written.
        """
        rows = [Key(self.salt, SALT), *self._keys.values()]
        write_table(Path(path), map(asdict, rows), COLUMNS, mode=OWNER_ONLY)

    def _add(self, kind: str, identity: str, **details: str) -> str:
        hashed = f"{kind}:{details.get('patient', '')}:{identity}"
        digest = hmac.new(self.salt.encode(), hashed.encode(), "sha256").hexdigest()
        pseudonym = PREFIXES[kind] + digest[:DIGITS]
        known = self._keys.get(pseudonym)
        if known is not None and known.identity != identity:
            raise InputError(f"two identities share the pseudonym {pseudonym}; scan with a new key table")
        if known is not None and kind == PATIENT:  # an ID may belong to several people, and none must be lost
            details = {field: _joined(getattr(known, field), value) for field, value in details.items()}
        self._keys[pseudonym] = Key(pseudonym, kind, identity, **details)
        return pseudonym


def _joined(known: str, value: str) -> str:
    """What is known of an identity, and what has come to it."""
    return AND.join(dict.fromkeys(filter(None, [*known.split(AND), value])))
