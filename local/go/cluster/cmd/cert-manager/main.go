// Command cert-manager runs the real cert-manager controllers on the embedded cluster.
//
// cert-manager publishes its commands only as container images; its controllers are
// public Go packages. This command wires those packages together behind the flags that
// the product's Deployments pass, so that the pods of an installation run here with their
// own arguments. ACME, Vault and Venafi issuers are left out: nothing here can reach them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
)

func main() {
	ctx, stop := signal.NotifyContext(logf.NewContext(context.Background(), logf.Log), os.Interrupt, syscall.SIGTERM)
	defer stop()

	root := &cobra.Command{
		Use:           "cert-manager",
		Short:         "cert-manager controllers for the embedded cluster",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(controllerCommand(), webhookCommand(), cainjectorCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// commonFlags are the flags every cert-manager command has in the product's Deployments.
type commonFlags struct {
	kubeconfig              string
	verbosity               int
	leaderElectionNamespace string
	metricsListenAddress    string
}

func (f *commonFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file; empty means in-cluster")
	flags.IntVar(&f.verbosity, "v", 2, "log verbosity")
	flags.StringVar(&f.leaderElectionNamespace, "leader-election-namespace", "kube-system", "namespace of the leader election Lease")
	flags.StringVar(&f.metricsListenAddress, "metrics-listen-address", "0", "address of the metrics server; 0 switches it off")
}

func (f *commonFlags) restConfig(component string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig %q: %w", f.kubeconfig, err)
	}
	return util.RestConfigWithUserAgent(config, component), nil
}
