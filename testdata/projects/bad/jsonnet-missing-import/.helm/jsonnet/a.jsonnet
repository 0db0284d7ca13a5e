local lib = import 'lib.libsonnet';
lib
