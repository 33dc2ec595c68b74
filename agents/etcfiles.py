"""The files that the kubelet gives every container: /etc/hosts, /etc/hostname, /etc/resolv.conf.

Also how a pod names itself: its hostname and, with a subdomain, its full name.
"""

from __future__ import annotations

from agents.environment import Place
from cluster.api.objects import Object

_LOOPBACK = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
MAX_HOSTNAME = 63


def hostname(pod: Object) -> str:
    spec, meta = pod["spec"], pod["metadata"]
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])
    if spec.get("hostNetwork"):
        return str(spec.get("nodeName") or meta["name"])
    name: str = spec.get("hostname") or meta["name"][:MAX_HOSTNAME].rstrip("-.")
    return full_name(pod, name) or name if spec.get("setHostnameAsFQDN") else name


def full_name(pod: Object, name: str, domain: str = "cluster.local") -> str:
    """hostname.subdomain.namespace.svc.domain; empty without a subdomain."""
    subdomain = pod["spec"].get("subdomain")
    return f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.{domain}" if subdomain else ""


def etc_files(pod: Object, place: Place) -> dict[str, str]:
    """Path → text."""
    return {
        "/etc/hostname": hostname(pod) + "\n",
        "/etc/hosts": hosts(pod, place),
        "/etc/resolv.conf": resolv_conf(pod, place),
    }


def hosts(pod: Object, place: Place) -> str:
    spec = pod["spec"]
    name = hostname(pod)
    if spec.get("hostNetwork"):
        text = "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n"
        text += f"{place.host_ip}\t{name}\n"
    else:
        full = full_name(pod, spec.get("hostname") or pod["metadata"]["name"], place.cluster_domain)
        names = f"{full}\t{name.partition('.')[0]}" if full else name
        text = f"# Kubernetes-managed hosts file.\n{_LOOPBACK}{place.pod_ip}\t{names}\n"
    aliases = spec.get("hostAliases")
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{a['ip']}\t" + "\t".join(a.get("hostnames") or ()) + "\n" for a in aliases)
    return text


def resolv_conf(pod: Object, place: Place) -> str:
    """Search domains, servers and options by the pod's DNS policy and its dnsConfig."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    if policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.get("hostNetwork")):
        namespace, domain = pod["metadata"]["namespace"], place.cluster_domain
        servers = [place.cluster_dns] if place.cluster_dns else []
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
        options = ["ndots:5"]
    config = spec.get("dnsConfig") or {}
    servers += [server for server in config.get("nameservers") or () if server not in servers]
    searches += [search for search in config.get("searches") or () if search not in searches]
    for option in config.get("options") or ():
        name = option["name"]
        options = [known for known in options if known.partition(":")[0] != name]
        options.append(f"{name}:{option['value']}" if option.get("value") else name)
    text = f"search {' '.join(searches)}\n" if searches else ""
    text += "".join(f"nameserver {server}\n" for server in servers)
    return text + (f"options {' '.join(options)}\n" if options else "")
