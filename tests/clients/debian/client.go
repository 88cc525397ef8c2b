// A client of the AWS SDK for Go v2. Prints what it sees as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/workspaces"
	"github.com/aws/aws-sdk-go-v2/service/workspaces/types"
	"github.com/aws/smithy-go"
)

type credentials struct{}

func (credentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
}

func main() {
	ctx := context.Background()
	client := workspaces.New(workspaces.Options{
		Region:           "us-east-1",
		Credentials:      credentials{},
		EndpointResolver: workspaces.EndpointResolverFromURL(os.Args[1]),
	})
	rebuild := func() []types.FailedWorkspaceChangeRequest {
		output, err := client.RebuildWorkspaces(ctx, &workspaces.RebuildWorkspacesInput{
			RebuildWorkspaceRequests: []types.RebuildRequest{{WorkspaceId: aws.String("ws-available0001")}},
		})
		check(err)
		return output.FailedRequests
	}
	accepted := rebuild()
	again := rebuild()

	_, err := client.DescribeWorkspaces(ctx, &workspaces.DescribeWorkspacesInput{UserName: aws.String("ana.silva")})
	var invalid *types.InvalidParameterValuesException
	isModelled := errors.As(err, &invalid)
	var fault smithy.APIError
	errors.As(err, &fault)

	var listed []string
	pages := workspaces.NewDescribeWorkspacesPaginator(client, &workspaces.DescribeWorkspacesInput{Limit: aws.Int32(7)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		check(err)
		for _, workspace := range page.Workspaces {
			listed = append(listed, *workspace.WorkspaceId)
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"accepted": len(accepted), "again": *again[0].ErrorCode,
		"error": fault.ErrorCode(), "message": fault.ErrorMessage(), "modelled": isModelled,
		"listed": listed,
	}))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
