"""Where generated code runs: `inside` each sandbox, on the `host`, and the backends `local` and `modal`."""
