"""Why the service does not start. Apart, for the command line loads no server to say it."""


class CannotServeError(Exception):
    """The server will not start; says what to do."""


class WrongRevisionError(CannotServeError):
    """The database's schema is not the one this version works with."""
