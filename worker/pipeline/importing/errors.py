"""What ends an import before anything of it is kept."""


class ImportRefused(ValueError):
    """Nothing was loaded; the text says what is wrong and where."""
