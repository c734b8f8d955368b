package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// BenchmarkAnswered is what the daemon's HTTP side costs without the ledger
// behind it: one record that already stands there, again and again over one
// connection, so that nothing is committed and one signature is all that is
// verified. What a request allocates says more than the time, which is the
// kernel's for the most part.
func BenchmarkAnswered(b *testing.B) {
	d := daemontest.New(b, nil)
	entry := d.Records(d.Line(), 1)[0]
	if _, err := d.Ledger.Append(b.Context(), entry); err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := head(d, "POST", api.PathRecords, joseType, "Content-Length: "+strconv.Itoa(len(entry))) + string(entry)
	answers := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
	}
}
