"""The sandboxes of generated code: what runs `inside` each and on the `host`, and the backends `local` and `modal`."""
