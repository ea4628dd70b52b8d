"""One class per mistake. Each message says what was given, what would do, and what to type."""


class RheostatError(Exception):
    """Anything rheostat refuses. `exit_code` is what the command line ends with (2: the user's input, 3: our bug)."""

    exit_code = 2


class InternalError(RheostatError):
    """A state that rheostat promises can never occur; please report it."""

    exit_code = 3


class RheostatWarning(UserWarning):
    """Something that is done as asked, but is probably not what was meant."""


# --- models -----------------------------------------------------------------------------------------------------------


class ModelNotFound(RheostatError):
    """The name is no built-in, no folder, no file and no hub model that could be loaded."""


class UnknownArchitecture(RheostatError):
    """No family table covers this network; an anatomy can be passed by hand."""


class CompiledModel(RheostatError):
    """A compiled module never calls hooks on its inner modules, so nothing in it can be read or edited."""


class DamagedFile(RheostatError):
    """A file from outside is truncated, corrupted or not what its pin says."""


class DownloadFailed(RheostatError):
    """A pinned package could not be fetched."""


class CacheNotWritable(RheostatError):
    """The cache folder refuses writing or has too little space."""


class NeedsTokenizer(RheostatError):
    """Text was given to a model that was loaded without a tokenizer."""


# --- places -----------------------------------------------------------------------------------------------------------


class SiteNotFound(RheostatError):
    """No site has this name in this model."""


class SiteNotOffered(RheostatError):
    """The site exists in other families, but this one has no such tensor."""


class PositionNotFound(RheostatError):
    """A position lies outside the row, or a substring does not occur in the prompt."""


class AmbiguousPosition(RheostatError):
    """A substring occurs several times in the prompt."""


# --- runs -------------------------------------------------------------------------------------------------------------


class EditNotApplied(RheostatError):
    """An edit never reached an activation; nothing falls back silently."""


class EditNotUsable(RheostatError):
    """An edit's value, units or positions do not fit the activation they should change."""


class DirectionNotUsable(RheostatError):
    """A direction points nowhere, belongs to another network, or cannot be fitted from what was given."""


class ClusterNotUsable(RheostatError):
    """A cluster of units is empty, or belongs to another network."""


class TaskNotUsable(RheostatError):
    """There is no task of this name, or the network answers none of its items."""


class NotOneToken(RheostatError):
    """A text that must be a single token of the vocabulary is none or several."""


class EmptyPrompt(RheostatError):
    """A prompt holds no token."""


class PromptTooLong(RheostatError):
    """A prompt, with what should be generated, exceeds the model's context."""


class MissingExtra(RheostatError):
    """What was asked for needs a package that is not installed."""


class WorkerDiffers(RheostatError):
    """A worker of a sweep would compute other numbers: other weights, packages or tokens."""


class WorkerLost(RheostatError):
    """Workers of a sweep died again and again at the same cells."""


# --- serving ----------------------------------------------------------------------------------------------------------


class QueueFull(RheostatError):
    """So many requests wait already that another one is refused."""


class Closing(RheostatError):
    """A server that is ending takes no new requests."""


class KeyNotFound(RheostatError):
    """A server has no key of this id."""


class AuditBroken(RheostatError):
    """An audit log is not the one that was written."""

    exit_code = 1


class ApiNotReachable(RheostatError):
    """An API was away, busy or broken for longer than one was willing to wait."""


class ApiRefused(RheostatError):
    """An API refuses a request for good, or answers what no such API answers."""


# --- files and studies ------------------------------------------------------------------------------------------------


class FileNotUsable(RheostatError):
    """A file named by the user is missing, unreadable or of another kind."""


class TooLittleText(RheostatError):
    """A topic has too few or too short articles for what is asked of it."""


class WouldOverwrite(RheostatError):
    """The output exists; rheostat overwrites only when asked."""


class StudyNotFound(RheostatError):
    """No study has this name."""


class RunNotFound(RheostatError):
    """A store holds no run of this number."""


class BadArgument(RheostatError):
    """An argument has a value outside its range."""
