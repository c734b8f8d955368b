package server_test

import (
	"encoding/json"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// TestRegistryTag: who has the registry gets it again only once it changed, and
// no cache in between may answer.
func TestRegistryTag(t *testing.T) {
	d := daemontest.New(t, nil)
	auth := []string{"Authorization", "Bearer " + d.Token}
	get := func(tag string) answer {
		return request(t, "GET", d.URL+api.PathRegistry, nil, append(auth, "If-None-Match", tag)...)
	}
	first := request(t, "GET", d.URL+api.PathRegistry, nil, auth...)
	tag := first.header.Get("ETag")
	if first.status != 200 || tag == "" || first.header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("%d, %v", first.status, first.header)
	}
	if a := get(tag); a.status != 304 || len(a.body) != 0 || a.header.Get("ETag") != tag {
		t.Errorf("want 304, found %d %s %v", a.status, a.body, a.header)
	}
	for _, other := range []string{"", "*", `"x"`, "W/" + tag} {
		if a := get(other); a.status != 200 {
			t.Errorf("If-None-Match %s: want 200, found %d", other, a.status)
		}
	}
	if _, err := d.Ledger.Revoke(t.Context(), d.Root, &evidence.ActorRevoked{Name: daemontest.Agent, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	a := get(tag)
	var g api.Registry
	if err := json.Unmarshal(a.body, &g); a.status != 200 || err != nil || a.header.Get("ETag") == tag || g.Number != d.Ledger.Registry().Number() {
		t.Errorf("after a revocation: %d %s %v", a.status, a.body, err)
	}
}
