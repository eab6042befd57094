import {
  DashboardLinkBuilder,
  DashboardLinkType,
  type DashboardLink,
} from "@grafana/grafana-foundation-sdk/dashboard";

export interface Link {
  build(): DashboardLink;
}

/**
 * A link of a dashboard or of a panel's data. The SDK's own builder would put every one into the menu of the
 * dashboard's controls, where nobody looks.
 */
export function link(of: Partial<DashboardLink> & Pick<DashboardLink, "title" | "url">): Link {
  const { placement: _, ...plain } = new DashboardLinkBuilder(of.title).type(DashboardLinkType.Link).build();
  return { build: () => ({ ...plain, ...of }) };
}
