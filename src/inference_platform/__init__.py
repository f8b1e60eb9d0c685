"""The logic of the inference platform installer, importable without Ansible."""
