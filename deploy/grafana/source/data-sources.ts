/** The data sources, as `provisioning/datasources` names them. */
export const PROMETHEUS = { type: "prometheus", uid: "prometheus" };
export const JAEGER = { type: "jaeger", uid: "jaeger" };
