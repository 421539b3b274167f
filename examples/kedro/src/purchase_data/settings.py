"""Settings of the Kedro project: one environment, which may read the server's address from the shell."""

from omegaconf.resolvers import oc

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "base",
    "custom_resolvers": {"oc.env": oc.env},
}
