"""Configuration: every setting declared once (`settings_table`), where values come from and how far each source is
trusted (`setting_sources`, `env_file`, `ownership`), which models are asked with which key (`model_choice`), Modal's
login (`modal_login`), and the folders in which things are kept (`folders`).
"""

from __future__ import annotations

from fleet_rlm.config.folders import config_file, home, homeless, runs_dir, state_file, themes_dir
from fleet_rlm.config.model_choice import DEFAULT_MAX_TOKENS, ModelChoice, ModelConfig, model_choice
from fleet_rlm.config.problem import Problem
from fleet_rlm.config.providers import PROVIDER_KEYS, provider_of
from fleet_rlm.config.setting_sources import Settings, Trust, Value, load
from fleet_rlm.config.settings_table import BY_KEY, OFFLINE, OFFLINE_MODEL, SETTINGS, Setting

__all__ = [
    "BY_KEY",
    "DEFAULT_MAX_TOKENS",
    "OFFLINE",
    "OFFLINE_MODEL",
    "PROVIDER_KEYS",
    "SETTINGS",
    "ModelChoice",
    "ModelConfig",
    "Problem",
    "Setting",
    "Settings",
    "Trust",
    "Value",
    "config_file",
    "home",
    "homeless",
    "load",
    "model_choice",
    "provider_of",
    "runs_dir",
    "state_file",
    "themes_dir",
]
