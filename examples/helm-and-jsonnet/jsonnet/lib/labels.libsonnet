function(name, release) {
  'app.kubernetes.io/name': name,
  'app.kubernetes.io/instance': release,
}
