local stagewright = std.extVar('stagewright');
local labelsOf = import 'lib/labels.libsonnet';
// The defaults are those of the chart; values from the command line go over them.
local defaults = std.native('parseYaml')(importstr '../helm/values.yaml')[0];

function(name='web')
local values = std.mergePatch(defaults, stagewright.values);
local labels = labelsOf(name, stagewright.release.name);
local meta = { metadata: { name: name, labels: labels } };
{
  settings: meta { apiVersion: 'v1', kind: 'ConfigMap', data: values.settings },
  deployment: meta {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: {
      replicas: values.replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: {
          labels: labels,
          annotations: { 'checksum/settings': std.sha256(std.manifestJsonMinified(values.settings)) },
        },
        spec: {
          containers: [{
            name: name,
            image: stagewright.images.web,
            ports: [{ containerPort: values.port }],
            envFrom: [{ configMapRef: { name: name } }],
          }],
        },
      },
    },
  },
  service: meta {
    apiVersion: 'v1',
    kind: 'Service',
    spec: { selector: labels, ports: [{ port: 80, targetPort: values.port }] },
  },
  [if values.ingress.enabled then 'ingress']: meta {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    spec: {
      rules: [
        {
          host: host,
          http: {
            paths: [{
              path: '/',
              pathType: 'Prefix',
              backend: { service: { name: name, port: { number: 80 } } },
            }],
          },
        }
        for host in values.ingress.hosts
      ],
    },
  },

  // A chart is used as it is; its manifests could be changed here like any object.
  cache: std.native('helmTemplate')(stagewright.release.name, '../helm/charts/cache', {
    calledFrom: std.thisFile,
    values: values.cache,
  }),
}
