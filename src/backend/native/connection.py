# How Ansible reaches the root of an image: our own program enters it for each command.
DOCUMENTATION = """
name: stagewright
short_description: Runs commands in the root of an image that is being built
description: Enters the root for each command; files are written and read by commands too.
author: Stagewright
options: {}
"""

import os
import shlex
import subprocess

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase


class Connection(ConnectionBase):
    transport = "stagewright"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def close(self):
        self._connected = False

    def _run(self, command, data=None, **streams):
        words = [os.environ["STAGEWRIGHT_PROGRAM"], "internal-run", "enter", os.environ["STAGEWRIGHT_ENTER"], command]
        streams = {"stdin": subprocess.DEVNULL if data is None else subprocess.PIPE, "stdout": subprocess.PIPE, **streams}
        process = subprocess.Popen(words, stderr=subprocess.PIPE, **streams)
        out, err = process.communicate(data)
        return process.returncode, out or b"", err

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        return self._run(cmd, in_data)

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        with open(in_path, "rb") as source:
            self._checked(self._run("cat > " + shlex.quote(out_path), stdin=source), out_path)

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        with open(out_path, "wb") as target:
            self._checked(self._run("cat " + shlex.quote(in_path), stdout=target), in_path)

    def _checked(self, ended, path):
        code, _, err = ended
        if code != 0:
            raise AnsibleError("copy %s: %s" % (path, err.decode(errors="replace").strip()))
