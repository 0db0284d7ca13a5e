local input = std.extVar('stagewright');
{
  settings: {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings', namespace: input.release.namespace },
    data: { replicas: std.toString(input.values.replicas), release: input.release.name },
  },
}
