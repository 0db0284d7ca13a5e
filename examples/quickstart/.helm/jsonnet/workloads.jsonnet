// What is easier to say in Jsonnet than in a template; part of the same release.
local sw = std.extVar('stagewright');

local labels(component) = {
  'app.kubernetes.io/name': component,
  'app.kubernetes.io/instance': sw.release.name,
};

// Everything that runs more than once keeps one pod up while nodes are drained.
local budget(component) = {
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: { name: component, labels: labels(component) },
  spec: { minAvailable: 1, selector: { matchLabels: labels(component) } },
};

local stockReport = {
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'stock-report', labels: labels('stock-report') },
  spec: {
    schedule: sw.values.stockReport.schedule,
    jobTemplate: { spec: { template: { spec: {
      restartPolicy: 'OnFailure',
      containers: [{
        name: 'report',
        image: sw.images.backend,
        command: ['python3', '-m', 'shop.report'],
        envFrom: [{ configMapRef: { name: 'backend' } }],
      }],
    } } } },
  },
};

[budget(c) for c in ['backend', 'frontend'] if sw.values[c].replicas > 1] + [stockReport]
