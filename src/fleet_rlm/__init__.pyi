from fleet_rlm import events as events
from fleet_rlm.engine.api import RunResult as RunResult
from fleet_rlm.engine.api import run as run
from fleet_rlm.engine.errors import SetupError as SetupError
from fleet_rlm.engine.program import lm as lm
from fleet_rlm.engine.recording import record as record
from fleet_rlm.runs.reader import NotARun as NotARun
from fleet_rlm.runs.reader import RunFile as RunFile
from fleet_rlm.runs.reader import open_run as open_run
from fleet_rlm.sandbox.local import LocalInterpreter as LocalInterpreter
from fleet_rlm.sandbox.modal.interpreter import ModalInterpreter as ModalInterpreter
from fleet_rlm.spec import Budgets as Budgets
from fleet_rlm.spec import ModalOptions as ModalOptions
from fleet_rlm.tasks.tools import regex_extract as regex_extract

__version__: str
